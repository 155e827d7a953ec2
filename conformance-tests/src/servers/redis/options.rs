use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// Who the tests are to a server for their own commands, whatever its users may do.
pub(super) const ADMIN: &str = "statestore-tests";

/// How a [`RedisServer`](super::RedisServer) is to be.
///
/// By default without a password or TLS, in memory only, and without a limit to it. A test that needs more sets it
/// in Redis's own words with [`config`](Self::config).
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RedisOptions {
    pub(super) append_only: bool,
    pub(super) password: Option<String>,
    pub(super) user: Option<User>,
    pub(super) tls: bool,
    pub(super) node_timeout: Option<Duration>,
    pub(super) config: Vec<(String, Vec<String>)>,
}

/// A user with a password and ACL rules.
#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) password: String,
    pub(super) rules: String,
}

impl RedisOptions {
    /// What was acknowledged is found again after a restart: each write is appended to a file before its answer.
    #[must_use]
    pub fn append_only(mut self) -> Self {
        self.append_only = true;
        self
    }

    /// The default user has this password.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// There is a user with this password and these ACL rules, such as `~* +get +set`, and `url` is for that user.
    /// The default user is off, unless [`password`](Self::password) gives it one.
    #[must_use]
    pub fn user(
        mut self,
        name: impl Into<String>,
        password: impl Into<String>,
        rules: impl Into<String>,
    ) -> Self {
        self.user = Some(User {
            name: name.into(),
            password: password.into(),
            rules: rules.into(),
        });
        self
    }

    /// The server also listens with TLS, with a certificate made for it, and `url` is for that.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// The server refuses writes when it uses this much memory, with `OOM`.
    #[must_use]
    pub fn max_memory(self, bytes: u64) -> Self {
        self.config("maxmemory", [bytes.to_string()])
    }

    /// How long a server must not answer before the others hold it for dead: 1.5 seconds unless given. For a
    /// cluster or sentinels.
    #[must_use]
    pub fn node_timeout(mut self, timeout: Duration) -> Self {
        self.node_timeout = Some(timeout);
        self
    }

    /// Any line of a Redis configuration.
    #[must_use]
    pub fn config<T: Into<String>>(
        mut self,
        directive: impl Into<String>,
        values: impl IntoIterator<Item = T>,
    ) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        self.config.push((directive.into(), values));
        self
    }

    /// Whether someone has to say who they are.
    pub(super) fn has_users(&self) -> bool {
        self.password.is_some() || self.user.is_some()
    }

    pub(super) fn node_timeout_millis(&self) -> u128 {
        self.node_timeout
            .unwrap_or(Duration::from_millis(1500))
            .as_millis()
    }

    /// The URL of one or more servers, with `redis` or `rediss` before the rest of the scheme.
    pub(super) fn url(&self, kind: &str, addrs: &[SocketAddr]) -> String {
        let scheme = if self.tls { "rediss" } else { "redis" };
        let addrs: Vec<_> = addrs.iter().map(SocketAddr::to_string).collect();
        format!("{scheme}{kind}://{}{}", self.userinfo(), addrs.join(","))
    }

    /// The `user:password@` for those who use the server.
    fn userinfo(&self) -> String {
        match (&self.user, &self.password) {
            (Some(user), _) => format!("{}:{}@", escaped(&user.name), escaped(&user.password)),
            (None, Some(password)) => format!(":{}@", escaped(password)),
            (None, None) => String::new(),
        }
    }

    /// The lines about who may do what.
    pub(super) fn access(&self, admin_password: &str, config: &mut Config) {
        if !self.has_users() {
            return;
        }
        let hashless = |password: &str| format!(">{password}");
        config.line(
            "user",
            [ADMIN, "on", &hashless(admin_password), "~*", "&*", "+@all"],
        );
        config.line("masteruser", [ADMIN]);
        config.line("masterauth", [admin_password]);
        if let Some(user) = &self.user {
            let password = hashless(&user.password);
            let start = ["on", &password];
            config.line(
                "user",
                [&*user.name]
                    .into_iter()
                    .chain(start)
                    .chain(user.rules.split_whitespace()),
            );
        }
        match &self.password {
            Some(password) => config.line(
                "user",
                ["default", "on", &hashless(password), "~*", "&*", "+@all"],
            ),
            None => config.line("user", ["default", "off"]),
        }
    }
}

/// The text of a configuration file.
#[derive(Debug, Default)]
pub(super) struct Config(String);

impl Config {
    /// Adds a line, with each value in quotes.
    pub(super) fn line<T: AsRef<str>>(&mut self, directive: &str, values: impl IntoIterator<Item = T>) {
        self.0.push_str(directive);
        for value in values {
            self.0.push_str(" \"");
            for byte in value.as_ref().bytes() {
                match byte {
                    b'"' | b'\\' => self.0.extend(['\\', char::from(byte)]),
                    b' '..=b'~' => self.0.push(char::from(byte)),
                    _ => {
                        let _ = write!(self.0, "\\x{byte:02x}");
                    }
                }
            }
            self.0.push('"');
        }
        self.0.push('\n');
    }

    /// Adds a line whose value is a path.
    pub(super) fn path(&mut self, directive: &str, path: &Path) {
        self.line(directive, [path.to_string_lossy()]);
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

/// Escapes what could mean something else in a URL.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_values_are_quoted() {
        let mut config = Config::default();
        config.line("requirepass", ["a \"b\" \\ é\n"]);
        assert_eq!(
            config.text(),
            "requirepass \"a \\\"b\\\" \\\\ \\xc3\\xa9\\x0a\"\n"
        );
    }

    #[test]
    fn names_and_passwords_are_escaped_in_urls() {
        let options = RedisOptions::default().user("a:b", "p@ss/é", "+@all");
        assert_eq!(options.userinfo(), "a%3Ab:p%40ss%2F%C3%A9@");
        assert_eq!(RedisOptions::default().password("x").userinfo(), ":x@");
        assert_eq!(RedisOptions::default().userinfo(), "");
    }
}
