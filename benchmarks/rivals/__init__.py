"""The same models in other engines, each written the way its manual teaches."""
