"""Looking at frames: view models and widgets of flujo-nb."""

if __name__ == "widgets":
    raise ImportError(
        "this package is installed as flujo_nb.widgets: import flujo_nb.widgets instead"
    )
