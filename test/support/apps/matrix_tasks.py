# The tasks of the interop matrix, on Python's side. `app` and LEDGER are there.
import json, os, signal, time
from celery.exceptions import SoftTimeLimitExceeded

def note(task, word):
    line = json.dumps([word, task.name, task.request.id, "python", int(time.time() * 1000)])
    with open(LEDGER, "a") as f:
        f.write(line + "\n")

@app.task(name="m.echo", bind=True)
def echo(self, value, word=None):
    note(self, "begun")
    return [value, word]

@app.task(name="m.length", bind=True)
def length(self, text):
    note(self, "begun")
    return len(text)

@app.task(name="m.sleep", bind=True)
def sleep(self, seconds):
    note(self, "begun")
    time.sleep(seconds)
    note(self, "ended")
    return "slept"

@app.task(name="m.nap", bind=True)
def nap(self, seconds):
    note(self, "begun")
    time.sleep(seconds)

@app.task(name="m.hold", bind=True)
def hold(self, file):
    note(self, "begun")
    while not os.path.exists(file):
        time.sleep(0.02)

@app.task(name="m.retry", bind=True, max_retries=5)
def retry(self, word):
    note(self, "begun")
    if self.request.retries < 2:
        raise self.retry(countdown=0.3, exc=TypeError("not yet"))
    return [word, self.request.retries]

@app.task(name="m.never", bind=True, max_retries=1)
def never(self):
    note(self, "begun")
    raise self.retry(countdown=0.3, exc=KeyError("gone"))

@app.task(name="m.fail", bind=True)
def fail(self, text):
    note(self, "begun")
    raise ValueError(text)

@app.task(name="m.die", bind=True)
def die(self):
    note(self, "begun")
    os.kill(os.getpid(), signal.SIGKILL)

@app.task(name="m.progress", bind=True)
def progress(self, file):
    note(self, "begun")
    self.update_state(state="PROGRESS", meta={"done": 1})
    while not os.path.exists(file):
        time.sleep(0.02)
    return "all"

@app.task(name="m.soft", bind=True)
def soft(self):
    note(self, "begun")
    try:
        time.sleep(30)
    except SoftTimeLimitExceeded:
        return "soft"
    return "never"

@app.task(name="m.late", bind=True, acks_late=True, reject_on_worker_lost=True)
def late(self, file):
    note(self, "begun")
    if os.path.exists(file):
        return "second"
    open(file, "w").close()
    os.kill(os.getpid(), signal.SIGKILL)
