"""The errors a user can cause and can mend."""


class MskdexError(Exception):
    """A problem with the input, the config or an artifact, told in one sentence.

    The message names the patient, the file, the value, what is allowed and what to do. The command
    line prints it without a traceback and exits with 1; the traceback goes to the log file.
    """

    exit_code = 1


class UnfinishedError(MskdexError):
    """A stage has ended before it was done and goes on when the same command is run again; the exit code is 75.

    75 is EX_TEMPFAIL of sysexits.h: try again.
    """

    exit_code = 75
