"""Modal questions and answers: they return what was chosen and do nothing themselves."""
