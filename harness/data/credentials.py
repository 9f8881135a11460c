"""Keys, tokens and passwords by the forms that their issuers gave them so that they can be found."""

from __future__ import annotations

import re

SECRET = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"A(?:KIA|SIA)[0-9A-Z]{16}"
    r"|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{50,}|glpat-[A-Za-z0-9_-]{20,}"
    r"|xox[abeprs]-[A-Za-z0-9-]{10,}|xapp-\d-[A-Za-z0-9-]{20,}"
    r"|https://hooks\.slack\.com/services/T[A-Z0-9]+/B[A-Z0-9]+/[A-Za-z0-9]{20,}"
    r"|sk-(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{20,}|gsk_[A-Za-z0-9]{40,}"
    r"|[sr]k_(?:live|test)_[A-Za-z0-9]{16,}|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"
    r"|hf_[A-Za-z0-9]{30,}|AIza[0-9A-Za-z_-]{35}|ya29\.[A-Za-z0-9_-]{30,}"
    r"|npm_[A-Za-z0-9]{36}|pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{40,}"
    r"|SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}|SK[0-9a-f]{32}|dop_v1_[0-9a-f]{64}|\d{8,10}:AA[A-Za-z0-9_-]{33}"
    r"|AGE-SECRET-KEY-1[0-9A-Z]{58}|AccountKey=[A-Za-z0-9+/]{80,}={0,2}"
    r"|(?i:aws_secret_access_key)[\"' ]*[=:][\"' ]*[A-Za-z0-9/+]{40}"
    r"|eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,})"
    r"|-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----(?:[^-]+-----END (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----)?"
    r"|(?<=://)[^\s:/@\"'<>]{1,64}:(?!pass|pwd|secret|\*|x{3})[^\s:/@\"'<>${}]{6,64}(?=@)"
)
"""Keys of AWS, Azure, GitHub, GitLab, Slack, OpenAI and those who write theirs alike, Groq, Stripe, Shopify, Hugging
Face, Google, npm, PyPI, SendGrid, Twilio, DigitalOcean, Telegram; age, JWT, PEM and PGP keys; a password in a URL."""

HINT = r"-----BEGIN|[A-Za-z0-9_.-]{20}"
"""What every one of them holds, but for what holds an `@`."""
