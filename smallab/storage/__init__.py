"""Where batches are kept: what a place must do is in ``base``; the other modules are the folder tree."""
