"""Why a training run can end before its last step. Each is one line for the user and a code to exit with."""


class Stopped(Exception):
  """Training ended early."""

  code = 1


class NotFiniteError(Stopped):
  """A step met a value that is not finite."""

  def __init__(self, step: int, group: str):
    self.step = step
    super().__init__(
      f'step {step}: {group} is not finite; checkpoint {step - 1} holds the state before that step'
    )


class SaveError(Stopped):
  """A checkpoint or a metric could not be written. The checkpoints before it are as they were."""


class Terminated(Stopped):
  """SIGTERM came. The exit code is that of a process which the signal ended: schedulers start it again."""

  code = 143
