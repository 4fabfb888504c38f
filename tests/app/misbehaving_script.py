"""The command ``autoloss`` with the given arguments; ``misbehaving`` lies beside this file."""

from autoloss.app.main import run

if __name__ == "__main__":
    run()
