"""A real sweep: three models, two amounts of data, five seeds on scikit-learn's digits; the best with its spread."""

from typing import Any

from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from smallab import Experiment, ExperimentRunner, SpecificationGenerator, to_dataframe

MODELS = {
    "logistic regression": lambda seed: LogisticRegression(max_iter=3000, random_state=seed),
    "random forest": lambda seed: RandomForestClassifier(n_estimators=100, random_state=seed),
    "support vectors": lambda seed: SVC(random_state=seed),
}


class Digits(Experiment):
    """Trains one model on some of the 1797 images of digits and tests it on the rest."""

    def main(self, specification: dict[str, Any]) -> dict[str, float]:
        seed = specification["seed"]
        images, digits = load_digits(return_X_y=True)
        train_images, test_images, train_digits, test_digits = train_test_split(
            images / 16, digits, train_size=specification["train_size"], random_state=seed, stratify=digits
        )
        model = MODELS[specification["model"]](seed).fit(train_images, train_digits)
        self.logger.info("%s has seen %d images", specification["model"], len(train_images))
        return {"accuracy": float(model.score(test_images, test_digits))}


specifications = SpecificationGenerator().generate(
    {"model": list(MODELS), "train_size": [200, 1000], "seed": [1, 2, 3, 4, 5]}
)

# scikit-learn computes outside Python's lock, so threads do; what is random is seeded by hand, not globally.
result = ExperimentRunner().run("digits", specifications, Digits(), num_parallel=2)
print(result)
if not result:
    raise SystemExit(f"{len(result.failed)} failed: an average over the rest would deceive")

table = to_dataframe("digits")  # one row a specification; pip install "smallab[pandas]"
accuracy = table.groupby(["model", "train_size"])["result.accuracy"].agg(["mean", "std", "count"])
accuracy = accuracy.sort_values("mean", ascending=False).reset_index()
print(accuracy.round(4))

best = accuracy.iloc[0]
print(f"best: {best['model']} with {best['train_size']} images: ", end="")
print(f"{best['mean']:.4f} ± {best['std']:.4f} over {best['count']} seeds")
