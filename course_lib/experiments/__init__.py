"""The settings and loops behind every stored number: one module a chapter, no method of its own."""
