"""The pixels of the Streamlit leaderboard, which `app.py` starts; every number comes from `harness.leaderboard`.

    places       the pages, their addresses, how one leads to another
    door         a password or a sign-in, where the server wants one
    board        all experiments
    experiment   one of them: the verdict first, then its evidence
    gates        its gates
    samples      two of its candidates, sample by sample
    shared       what more than one page draws
    markup       the leaderboard's own tables as HTML, every text escaped
    style        their stylesheet

Nothing is computed and nothing is written. Model text is shown with `st.code` and never as
markdown, so that whatever a model says stays inert.
"""
