use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{Group, ServerError, wait_for};

/// How long a server may take to end when it is asked to, before it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// How much of the end of a server's output an error quotes.
const QUOTED_BYTES: i64 = 4096;

/// What to run as a [`Process`].
#[derive(Debug, Clone)]
pub struct Program {
    path: OsString,
    arguments: Vec<OsString>,
}

impl Program {
    /// A program by its path, or by its name on the `PATH`.
    pub fn new(path: impl Into<OsString>) -> Self {
        Self {
            path: path.into(),
            arguments: Vec::new(),
        }
    }

    /// The same with one more argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }
}

/// A server's process in a [`Group`], with a folder of its own in the group's.
///
/// Its output goes to a file there. Dropping it ends the process: with SIGTERM, and SIGKILL when that is not
/// heeded within 2 seconds.
#[derive(Debug)]
pub struct Process {
    name: String,
    program: Program,
    folder: PathBuf,
    state: Mutex<State>,
    /// Dropped after the process, so that the folder is removed when nobody writes to it.
    group: Arc<Group>,
}

#[derive(Debug)]
struct State {
    child: Child,
    suspended: bool,
}

impl Process {
    /// Starts a program, with `folder` as its current directory. It is made when it is not there.
    ///
    /// # Errors
    /// [`ServerError::Io`] when that fails.
    pub fn spawn(
        group: &Arc<Group>,
        name: &str,
        folder: &Path,
        program: Program,
    ) -> Result<Self, ServerError> {
        DirBuilder::new()
            .recursive(true)
            .create(folder)
            .map_err(ServerError::io(format!("making the folder {}", folder.display())))?;
        let child = launch(group, name, folder, &program)?;
        Ok(Self {
            name: name.to_owned(),
            program,
            folder: folder.to_owned(),
            state: Mutex::new(State {
                child,
                suspended: false,
            }),
            group: Arc::clone(group),
        })
    }

    /// Starts the program again, with the same arguments in the same folder, after [`kill`](Self::kill) or
    /// [`stop`](Self::stop), or after it ended by itself. One that still runs is killed first.
    ///
    /// # Errors
    /// [`ServerError::Io`] when it cannot be started.
    pub fn respawn(&self) -> Result<(), ServerError> {
        let mut state = self.state();
        kill(&self.name, &mut state)?;
        state.child = launch(&self.group, &self.name, &self.folder, &self.program)?;
        state.suspended = false;
        Ok(())
    }

    /// Waits until the server is ready, which `ready` tells, or has ended. For the attempts see [`wait_for`].
    ///
    /// # Errors
    /// [`ServerError::Ended`] or [`ServerError::Late`], with the server's output.
    pub async fn wait_until_ready<F>(
        &self,
        limit: Duration,
        mut ready: impl FnMut() -> F,
    ) -> Result<(), ServerError>
    where
        F: Future<Output = Result<(), ServerError>>,
    {
        let what = format!("{} is ready", self.name);
        let waited = wait_for(&what, limit, || {
            let attempt = ready();
            async move {
                match self.exited() {
                    Some(status) => Ok(Err(self.ended(status))),
                    None => attempt.await.map(Ok),
                }
            }
        });
        match waited.await {
            Ok(ended) => ended,
            Err(ServerError::Late { what, limit, last }) => Err(ServerError::Late {
                what,
                limit,
                last: format!("{last}; the server's last output:\n{}", self.output()),
            }),
            Err(error) => Err(error),
        }
    }

    /// The name by which errors call the server.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process's current directory, and the place of its files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The process's number, of use only while it runs.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.state().child.id()
    }

    /// How the process ended, or nothing when it has not.
    #[must_use]
    pub fn exited(&self) -> Option<ExitStatus> {
        self.state().child.try_wait().ok().flatten()
    }

    /// Whether the process runs and is not suspended.
    #[must_use]
    pub fn is_running(&self) -> bool {
        let mut state = self.state();
        !state.suspended && matches!(state.child.try_wait(), Ok(None))
    }

    /// Stops the process's execution, with SIGSTOP: its sockets stay open and nothing answers.
    ///
    /// # Errors
    /// [`ServerError::Ended`] when it does not run.
    pub fn suspend(&self) -> Result<(), ServerError> {
        let mut state = self.state();
        self.signal(&mut state, Signal::STOP)?;
        state.suspended = true;
        Ok(())
    }

    /// Lets a suspended process go on, with SIGCONT.
    ///
    /// # Errors
    /// [`ServerError::Ended`] when it does not run.
    pub fn resume(&self) -> Result<(), ServerError> {
        let mut state = self.state();
        self.signal(&mut state, Signal::CONT)?;
        state.suspended = false;
        Ok(())
    }

    /// Ends the process with SIGKILL, and waits for that. One that has ended stays so.
    ///
    /// # Errors
    /// [`ServerError::Io`] when the system refuses.
    pub fn kill(&self) -> Result<(), ServerError> {
        kill(&self.name, &mut self.state())
    }

    /// Asks the process to end, with SIGTERM, and waits for that; after 2 seconds it is killed.
    ///
    /// # Errors
    /// [`ServerError::Io`] when the system refuses.
    pub fn stop(&self) -> Result<(), ServerError> {
        self.ask_to_end();
        let deadline = Instant::now() + GRACE;
        while self.exited().is_none() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
        self.kill()
    }

    /// Asks the process to end without waiting for it: the first step of ending several.
    pub fn ask_to_end(&self) {
        let mut state = self.state();
        // A suspended process would act on it only after it goes on. Errors mean that it has ended.
        let _ = self.signal(&mut state, Signal::TERM);
        let _ = self.signal(&mut state, Signal::CONT);
        state.suspended = false;
    }

    /// The end of what the process has printed, over all its starts.
    #[must_use]
    pub fn output(&self) -> String {
        read_end(&log(&self.folder)).unwrap_or_else(|error| format!("(cannot be read: {error})"))
    }

    fn signal(&self, state: &mut State, signal: Signal) -> Result<(), ServerError> {
        // Only the number of a process that has not been waited for is surely still its own.
        match state.child.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => return Err(self.ended(status)),
            Err(source) => return Err(ServerError::io(format!("looking at {}", self.name))(source)),
        }
        let pid = i32::try_from(state.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.expect("a process id is a positive pid_t");
        kill_process(pid, signal)
            .map_err(|errno| ServerError::io(format!("sending a signal to {}", self.name))(errno.into()))
    }

    fn ended(&self, status: ExitStatus) -> ServerError {
        ServerError::Ended {
            server: self.name.clone(),
            status: status.to_string(),
            output: self.output(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

fn launch(group: &Group, name: &str, folder: &Path, program: &Program) -> Result<Child, ServerError> {
    let log = File::options().create(true).append(true).open(log(folder));
    let spawned = log.and_then(|out| {
        Command::new(&program.path)
            .args(&program.arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stderr(out.try_clone()?)
            .stdout(out)
            .process_group(group.id())
            .spawn()
    });
    spawned.map_err(ServerError::io(format!(
        "starting {name} by `{}`",
        program.path.to_string_lossy()
    )))
}

fn kill(name: &str, state: &mut State) -> Result<(), ServerError> {
    let killed = state.child.kill().and_then(|()| state.child.wait());
    state.suspended = false;
    killed
        .map(drop)
        .map_err(ServerError::io(format!("killing {name}")))
}

fn log(folder: &Path) -> PathBuf {
    folder.join("output.log")
}

fn read_end(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = i64::try_from(fs::metadata(path)?.len()).unwrap_or(i64::MAX);
    file.seek(SeekFrom::End(-length.min(QUOTED_BYTES)))?;
    let mut end = Vec::new();
    file.take(QUOTED_BYTES.unsigned_abs()).read_to_end(&mut end)?;
    Ok(String::from_utf8_lossy(&end).trim_end().to_owned())
}
