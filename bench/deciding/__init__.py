"""What the bench of decisions is made of: simulated worlds, judged by the real code, held against a contract.

worlds      candidates and references whose true difference is known       runs       scores as records of runs
grid        one gate, first look: false promotion, coverage, power         families   many suites, finalists, looks
early       evaluations that stop when they are decided                    recipes    several training seeds
speed       time and memory of one large comparison                        results    counts, and what they show
contract    what must be, and whether it is                                writing    docs/decision.md
"""
