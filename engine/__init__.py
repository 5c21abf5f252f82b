"""The frame-only workflow engine of flujo-nb."""

if __name__ == "engine":
    raise ImportError(
        "this package is installed as flujo_nb.engine: import flujo_nb.engine instead"
    )
