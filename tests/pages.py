"""What the tests share that write pages of docs/ with answers of a real daemon."""


def wrap(text, width=150):
    """Broken into lines after commas."""
    lines = []
    while len(text) > width:
        at = text.rfind(",", 0, width) + 1
        lines.append(text[:at or width])
        text = text[at or width:]
    return "\n".join(lines + [text])
