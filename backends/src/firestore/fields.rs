//! The indexes and the TTL policy of a store's fields: made by an explicit call.

use firestore::gcloud_sdk::google::firestore::admin::v1::field::{IndexConfig, TtlConfig};
use firestore::gcloud_sdk::google::firestore::admin::v1::{Field, UpdateFieldRequest};
use statestore_api::Result;

use super::FirestoreStore;
use super::codec::{EXPIRES, FIELDS};
use super::connection::unary;

impl FirestoreStore {
    /// Exempts this store's fields from indexes, and makes the TTL policy on its expiry field: what `firestore.indexes.json`
    /// does too. May be repeated. Firestore goes on by itself: a new policy is active within minutes, or an hour where much is stored.
    ///
    /// It makes no database: that needs a location, which is for good, and more rights than the program should have.
    /// Nothing else in this crate changes a database's configuration. It needs the role `roles/datastore.indexAdmin`; no emulator has it.
    ///
    /// # Errors
    /// [`StoreNotFound`](statestore_api::Error::StoreNotFound) when there is no such database;
    /// [`Unauthorized`](statestore_api::Error::Unauthorized); those of the service.
    pub async fn create_fields(&self) -> Result<()> {
        let context = self.context(true);
        let mut admin = self.connection.admin().await?;
        for field in FIELDS {
            let request = UpdateFieldRequest {
                field: Some(Field {
                    name: format!(
                        "{}/collectionGroups/{}/fields/{field}",
                        self.names.database(),
                        self.names.items()
                    ),
                    // There, and empty: no index at all.
                    index_config: Some(IndexConfig::default()),
                    ttl_config: (field == EXPIRES).then(TtlConfig::default),
                }),
                update_mask: None,
            };
            let answer = admin.update_field(unary(request, context.timeout)).await;
            answer.map_err(|status| context.error(status))?;
        }
        Ok(())
    }
}
