"""The pixels of the Streamlit leaderboard, which `app.py` starts; every number comes from `harness.leaderboard`.

    places       the pages, their addresses, how one leads to another
    __main__     what `harness ui` starts: loaded, then served
    door         a password or a sign-in, where the server wants one
    board        all experiments
    experiment   one of them: the verdict first, then its evidence
    gates        its gates
    compare      two runs of any experiments, sample by sample
    review       blind votes of people
    data         what the audit found, label balance, lengths
    production   what is in production
    diff         two texts word by word
    shared       what more than one page draws
    markup       the leaderboard's own tables as HTML, every text escaped
    style        their stylesheet, and the page's margins

Nothing is computed, and nothing is written but votes of people, through the store. Model text is shown with `st.code`,
`st.text` or escaped by `markup.text`, and never as markdown, so that whatever a model says stays inert.
"""
