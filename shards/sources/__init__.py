"""Where samples come from: class folders or annotation lists, each as a list of small frozen items."""
