use super::{RedisCluster, RedisServer};
use crate::servers::ServerError;

/// How many keys one command moves.
const BATCH: &str = "100";

/// How long one command may take to move its keys, in milliseconds. Less than we wait for its answer.
const MOVE_MILLIS: &str = "1500";

/// A slot of a [`RedisCluster`] on its way from one primary to another, for as long as a test needs it there.
///
/// Its keys that have been moved, and new ones, are found at the new primary after `ASK`; a script on keys of both
/// kinds is answered with `TRYAGAIN`.
#[derive(Debug)]
pub struct SlotMigration<'a> {
    cluster: &'a RedisCluster,
    slot: String,
    number: u16,
    from: &'a RedisServer,
    to: &'a RedisServer,
}

impl<'a> SlotMigration<'a> {
    pub(super) async fn start(
        cluster: &'a RedisCluster,
        number: u16,
        from: &'a RedisServer,
        to: &'a RedisServer,
    ) -> Result<Self, ServerError> {
        let slot = number.to_string();
        let set = ["CLUSTER", "SETSLOT", &slot];
        to.command(&[&set[..], &["IMPORTING", cluster.id(from)]].concat())
            .await?;
        from.command(&[&set[..], &["MIGRATING", cluster.id(to)]].concat())
            .await?;
        Ok(Self {
            cluster,
            slot,
            number,
            from,
            to,
        })
    }

    /// The primary that had the slot.
    #[must_use]
    pub fn from(&self) -> &'a RedisServer {
        self.from
    }

    /// The primary that gets the slot.
    #[must_use]
    pub fn to(&self) -> &'a RedisServer {
        self.to
    }

    /// Moves these keys, of which those that are not there are left out.
    ///
    /// # Errors
    /// As [`RedisServer::command`].
    pub async fn move_keys<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<(), ServerError> {
        let port = self.to.addr().port().to_string();
        let mut command: Vec<&[u8]> = [b"MIGRATE", b"127.0.0.1" as &[u8]].to_vec();
        command.extend([port.as_bytes(), b"", b"0", MOVE_MILLIS.as_bytes()]);
        let admin = self.cluster.site.admin();
        if let Some([user, password]) = &admin {
            command.extend([b"AUTH2", user.as_bytes(), password.as_bytes()]);
        }
        command.push(b"KEYS");
        command.extend(keys.iter().map(AsRef::as_ref));
        self.from.command(&command).await?;
        Ok(())
    }

    /// Moves all keys that are left.
    ///
    /// # Errors
    /// As [`RedisServer::command`].
    pub async fn move_all(&self) -> Result<(), ServerError> {
        loop {
            let left = ["CLUSTER", "GETKEYSINSLOT", &self.slot, BATCH];
            let left = self.from.command(&left).await?;
            let keys: Vec<_> = left.items().iter().map(|key| key.bytes()).collect();
            if keys.is_empty() {
                return Ok(());
            }
            self.move_keys(&keys).await?;
        }
    }

    /// Gives the slot to the new primary, and waits until all running nodes know. All keys must have been moved.
    ///
    /// # Errors
    /// As [`RedisServer::command`]; [`ServerError::Late`].
    pub async fn finish(self) -> Result<(), ServerError> {
        let set = ["CLUSTER", "SETSLOT", &self.slot, "NODE", self.cluster.id(self.to)];
        // The new one first: were it the other way round, each would send clients to the other for a moment.
        self.to.command(&set).await?;
        self.from.command(&set).await?;
        self.cluster.wait_for_owner(self.number, self.to).await
    }
}
