"""The project's own pictures, as programs: the same pixels on every machine.

Two rules make that hold. Numbers go through integers, +, -, *, / and sqrt alone, which IEEE 754 rounds the same way
everywhere; numpy's sin, exp and power differ in their last bits from one processor to the next, so `arithmetic` has
its own. And nothing adds an array of floats up in an order that numpy may choose (no sum, mean, matmul).
"""
