"""The model cards: one module a network, each `python -m zoo.cards.NAME RUN --data DATA`.

Everything is measured on what ships, through the product's own engines.
"""
