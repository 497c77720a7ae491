"""What happened when: every kill and every event of a storm, in a file that survives it."""
import threading

from harness.clock import now


class Story:
    def __init__(self, path, echo=False):
        self.path, self.echo, self.begun = path, echo, now()
        self._lines, self._lock = [], threading.Lock()
        self.problems = []
        path.touch()

    def tell(self, text):
        with self._lock:
            line = f"{now() - self.begun:9.3f} {text}"
            self._lines.append(line)
            with open(self.path, "a") as f:
                f.write(line + "\n")
            if self.echo:
                print(line, flush=True)

    def problem(self, text):
        """Something that must not be; the storm ends and fails."""
        self.problems.append(text)
        self.tell(f"PROBLEM: {text}")

    def seconds(self):
        return now() - self.begun

    def tail(self, lines=40):
        return "\n".join(self._lines[-lines:])
