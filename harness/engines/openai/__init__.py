"""Any server that speaks OpenAI's API.

client   the calls and their parameters
engine   such a server as an Engine
"""
