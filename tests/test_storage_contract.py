"""The contract of storage, on every kind of place."""

import pytest
from storage_contract import StorageContract

from smallab.storage.base import open_storage


class TestFolder(StorageContract):
    @pytest.fixture(autouse=True)
    def _root(self, tmp_path):
        self.root = str(tmp_path)

    def place(self, name="batch"):
        return open_storage(self.root, name)


class TestFolderOfJson(TestFolder):
    def place(self, name="batch"):
        return open_storage(self.root, name, "json")
