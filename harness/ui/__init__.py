"""The pixels of the Streamlit leaderboard, which `app.py` starts; every number comes from `harness.leaderboard`.

    board        all experiments
    experiment   one of them: the verdict first, then its evidence
    gates        its gates
    samples      two of its candidates, sample by sample
    shared       what more than one page draws

Nothing is computed and nothing is written. Model text is shown with `st.code` and never as
markdown, so that whatever a model says stays inert.
"""
