"""What a user can mend, said in one line."""


class UserError(Exception):
    """A problem that the user can mend.

    The message is one line that says what is wrong and how to mend it. The command
    line prints it without a traceback and ends with exit status 2.
    """


def one_line(error: BaseException) -> str:
    """Return the text of `error` on a single line, for use inside another message."""
    return " ".join(str(error).split()) or type(error).__name__
