"""How do instances move? The use cases, and the two runtimes that call them."""
