//! The table itself: made by an explicit call, checked by `ready`.

use statestore_api::Result;

use super::AzureTableStore;
use super::rest::{Fault, Query};

impl AzureTableStore {
    /// Makes the table. If it is there already, that is as good.
    ///
    /// Nothing else in this crate makes a table. It needs a right that a function's identity should not have:
    /// `Microsoft.Storage/storageAccounts/tableServices/tables/write`.
    ///
    /// # Errors
    /// [`Unauthorized`](statestore_api::Error::Unauthorized); [`Unavailable`](statestore_api::Error::Unavailable) while a table of
    /// that name is being deleted; those of the service.
    pub async fn create_table(&self) -> Result<()> {
        match self.client.create_table().await {
            Ok(()) => Ok(()),
            Err(Fault::Refused(refusal)) if refusal.code == "TableAlreadyExists" => Ok(()),
            Err(fault) => Err(self.context(true, 0).error(fault)),
        }
    }

    /// # Errors
    /// [`StoreNotFound`](statestore_api::Error::StoreNotFound) and those of the service.
    pub(super) async fn check_table(&self) -> Result<()> {
        let query = Query {
            select: Some("f"),
            top: 1,
            ..Query::default()
        };
        self.client
            .query(&query)
            .await
            .map_err(|fault| self.context(false, 0).error(fault))?;
        self.saw_table();
        Ok(())
    }
}
