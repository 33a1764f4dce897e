"""HTTP that comes in: who may, bodies of a bounded size, answers, and the server that takes them."""
