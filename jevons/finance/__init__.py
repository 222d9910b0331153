"""What the vendor of GPUs earns and is thought to be worth, who holds it on credit, and how bad it can get.

Section 9 of the model.
"""
