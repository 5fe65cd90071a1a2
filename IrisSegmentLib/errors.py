"""The one exception for input that a person can mend."""


class IrisError(Exception):
    """Bad input, told in one sentence that names the thing and the way out.

    The module shows the sentence in its panel, the command line prints it; neither shows a traceback. Programming
    errors are never turned into an `IrisError`: they stay loud.
    """
