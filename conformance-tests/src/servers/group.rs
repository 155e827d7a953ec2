use std::fs::{self, DirBuilder};
use std::io::{self, PipeWriter};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::ServerError;

/// Leads the process group. It reads until the end of our pipe, which comes when this process ends in whatever
/// way, and then kills the whole group, itself included.
///
/// SIGHUP it must ignore: the system sends that to a group with a suspended process when the last parent outside
/// the group, which we are, ends.
const LEADER: &str = "trap '' HUP INT TERM; read -r _; kill -s KILL 0";

/// Outside the group: reads until the same end, waits until the group is gone, and removes the folder. The wait
/// is bounded, for the zombies of a container whose first process does not collect them.
const JANITOR: &str = r#"trap '' HUP INT TERM
read -r _
left=200
while [ "$left" -gt 0 ] && kill -s 0 -- "-$1"; do left=$((left - 1)); sleep 0.05; done
rm -rf -- "$2""#;

/// A folder and a process group for one or more servers, neither of which outlives this process.
///
/// Dropping it kills what is left in the group and removes the folder. When this process ends without that, two
/// small shells do it, which see the end of a pipe. A server that leaves its process group (a daemon does) is out
/// of their reach.
#[derive(Debug)]
pub struct Group {
    folder: PathBuf,
    leader: Child,
    janitor: Child,
    /// Its closing is what both shells wait for. Other children do not inherit it.
    _alive: PipeWriter,
}

impl Group {
    /// Makes the folder, which only this user can read, and the group.
    ///
    /// # Errors
    /// [`ServerError::Io`] when the folder cannot be made or `sh` not be started.
    pub fn new(name: &str) -> Result<Arc<Self>, ServerError> {
        let folder = std::env::temp_dir().join(format!("statestore-{name}-{:016x}", fastrand::u64(..)));
        DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .map_err(ServerError::io(format!("making the folder {}", folder.display())))?;
        match Self::guard(&folder) {
            Ok((leader, janitor, alive)) => Ok(Arc::new(Self {
                folder,
                leader,
                janitor,
                _alive: alive,
            })),
            Err(source) => {
                let _ = fs::remove_dir(&folder);
                Err(ServerError::io("starting `sh` to watch over servers")(source))
            }
        }
    }

    fn guard(folder: &Path) -> io::Result<(Child, Child, PipeWriter)> {
        let (reader, alive) = io::pipe()?;
        let leader = shell(LEADER).stdin(reader.try_clone()?).spawn()?;
        let janitor = shell(JANITOR)
            .arg("sh")
            .arg(leader.id().to_string())
            .arg(folder)
            .stdin(reader)
            .spawn();
        match janitor {
            Ok(janitor) => Ok((leader, janitor, alive)),
            Err(error) => {
                let mut leader = leader;
                leader.kill()?;
                leader.wait()?;
                Err(error)
            }
        }
    }

    /// The folder, which goes with the group.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The group's number, for a command to be started in it.
    pub(super) fn id(&self) -> i32 {
        i32::try_from(self.leader.id()).expect("a process id is a positive pid_t")
    }

    /// Removes the folder. A process that was killed a moment ago may still be at its last write.
    fn remove_folder(&self) {
        let deadline = Instant::now() + Duration::from_secs(2);
        while fs::remove_dir_all(&self.folder).is_err() && self.folder.exists() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The leader is waited for last: until then its number cannot be given to another group.
        if let Some(group) = Pid::from_raw(self.id()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        self.remove_folder();
        let _ = self.janitor.kill();
        let _ = self.janitor.wait();
        let _ = self.leader.wait();
    }
}

/// A shell at the head of a process group of its own, where no Ctrl-C for the tests reaches it.
fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(script)
        .current_dir("/")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    command
}
