"""Retrieval: what belongs to a question, out of the train rows or a folder of documents.

shelves    the library that prompts look things up in; what is found becomes demonstrations or context
lexical    what counts as a word, and BM25 over words
embedding  an embedding model's cosine similarity
documents  a folder of text files, cut into passages
leaks      evaluation questions, with their answers, that stand in documents
"""

from harness.retrieval.documents import Passage, read_passages
from harness.retrieval.leaks import document_leaks
from harness.retrieval.shelves import Shelves

__all__ = ["Passage", "Shelves", "document_leaks", "read_passages"]
