"""From a summed gradient to new parameters. Everything is a pure function of arrays or of numbers.

flat       parameters and gradients as one vector, in the order in which backward finishes them
clip       the global norm, and the factor that divides by the tokens and clips
schedule   the learning rate of each committed step (no arrays)
rule       what an optimizer is; adamw, adam, sgd, lion (element-wise), muon and adafactor (not) are the rules
optimizer  the rules by name, with fp32 masters of 16-bit parameters and decay groups
"""
