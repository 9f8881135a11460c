"""Retrieval: what belongs to a question, out of the train rows or a folder of documents."""
