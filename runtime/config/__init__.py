"""The configuration: read once, checked whole, frozen, passed down.

table          what every table shares: frozen, strict, unknown keys refused; the kinds of numbers
run model data train parallel supervision checkpoint tracking cluster     the tables, one file per group
schema         the root, `Config`
fields         a walk over the schema and over a configuration: which keys exist, what each may hold
places         paths of keys, findings, and where each value was written
lines          the line of every key of a TOML text
text           a file of the disk becomes text, raw values and lines, or one problem
overrides      `--set table.key=value`
spelling       the likely fix for a misspelt key or value
validate       raw values become a `Config`, with a finding for everything that is wrong
sentences      what a value must be and what it is, in words
checks         rules across fields, each a small pure function in one list
unbuilt        what the contract names and this version has not built yet: one table, rows to delete
load           all of it together: `load_config`, `resolve`
save           `dumps`, the commented template, the listing with the origin of each value
"""
