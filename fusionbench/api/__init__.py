"""What Python users call: run a benchmark, read what was found, give data in memory, train one model and use it.

Its names are promised, and are those of the package itself: ``run``, ``load``, ``fit``, ``dataset``, ``Results``, ``Model``.
"""
