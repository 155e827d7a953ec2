use std::time::Duration;
use std::{fmt, io};

/// What went wrong with a server.
///
/// `Debug` is the same text as `Display`, so that `unwrap` in a test shows a server's last lines as lines.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// There is no such program on this machine. Install it as the text says.
    #[error("there is no {service} on this machine: {help}")]
    NotInstalled {
        /// What was to be started.
        service: &'static str,
        /// How to get it.
        help: String,
    },

    /// The server ended by itself. Its output says why.
    #[error("{server} ended by itself ({status}); its last output:\n{output}")]
    Ended {
        /// Which server.
        server: String,
        /// Its exit status.
        status: String,
        /// The end of what it printed.
        output: String,
    },

    /// A condition was not met within its time. Look at `last`, or give a slow machine more time.
    #[error("{what}: not within {limit:?}; the last state was: {last}")]
    Late {
        /// What was waited for.
        what: String,
        /// For how long.
        limit: Duration,
        /// Why the condition did not hold when it was last looked at.
        last: String,
    },

    /// The server answered a command of the test's with an error, or with what could not be meant.
    #[error("`{command}` was answered with: {answer}")]
    Command {
        /// The command's name, without its arguments.
        command: String,
        /// The server's words.
        answer: String,
    },

    /// A certificate for a server could not be made.
    #[error("making a certificate for the test: {reason}")]
    Certificate {
        /// Why.
        reason: String,
    },

    /// The operating system refused something. Look at the source.
    #[error("{doing}")]
    Io {
        /// What was being done.
        doing: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl ServerError {
    /// Makes an error of the operating system's, and of what was being done.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    /// Whether a server ended because another program had taken its port.
    pub(crate) fn is_port_taken(&self) -> bool {
        matches!(self, Self::Ended { output, .. } if {
            let output = output.to_ascii_lowercase();
            output.contains("address already in use") || output.contains("eaddrinuse")
        })
    }
}

impl fmt::Debug for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        match self {
            Self::Io { source, .. } => write!(f, ": {source}"),
            _ => Ok(()),
        }
    }
}
