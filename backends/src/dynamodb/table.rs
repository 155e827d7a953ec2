//! The table itself: made by an explicit call, checked by `ready`.

use std::time::Duration;

use aws_sdk_dynamodb::client::Waiters;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableDescription,
    TableStatus, TimeToLiveSpecification, TimeToLiveStatus,
};
use statestore_api::{Applied, BoxError, Error, Result};

use super::DynamoDbStore;
use super::codec::{ID, PARTITION, TTL};
use super::connection::{Ready, read, write};

/// How long a new table may take. It is usually there within 10 seconds.
const LONGEST_CREATION: Duration = Duration::from_secs(180);

impl DynamoDbStore {
    /// Makes the table, on demand capacity and with its TTL switched on, and waits until it is there. If it is there
    /// already, it is checked, and its TTL switched on.
    ///
    /// Nothing else in this crate makes a table. It needs rights that a function's role should not have:
    /// `dynamodb:CreateTable`, `DescribeTable`, `DescribeTimeToLive` and `UpdateTimeToLive`.
    ///
    /// # Errors
    /// [`Config`](Error::Config) when there is a table of that name with another key;
    /// [`Unauthorized`](Error::Unauthorized); those of the service.
    pub async fn create_table(&self) -> Result<()> {
        let ready = self.connection.ready().await?;
        let context = self.context(&ready, true);
        let key = |name, kind| {
            KeySchemaElement::builder()
                .attribute_name(name)
                .key_type(kind)
                .build()
        };
        let text = |name| {
            AttributeDefinition::builder()
                .attribute_name(name)
                .attribute_type(ScalarAttributeType::S)
                .build()
        };
        let request = ready
            .client
            .create_table()
            .table_name(&*self.table)
            .billing_mode(BillingMode::PayPerRequest)
            .key_schema(key(PARTITION, KeyType::Hash).map_err(unbuilt)?)
            .key_schema(key(ID, KeyType::Range).map_err(unbuilt)?)
            .attribute_definitions(text(PARTITION).map_err(unbuilt)?)
            .attribute_definitions(text(ID).map_err(unbuilt)?);
        match write!(ready, request).await {
            Ok(_) => {}
            Err(SdkError::ServiceError(error)) if error.err().is_resource_in_use_exception() => {}
            Err(error) => return Err(context.error(error)),
        }
        let wait = ready.client.wait_until_table_exists().table_name(&*self.table);
        wait.wait(LONGEST_CREATION)
            .await
            .map_err(|error| Error::Unavailable {
                applied: Applied::Maybe,
                reason: "the table was made but is not ready yet".to_owned(),
                source: Some(error.into()),
            })?;
        self.check_table(&ready).await?;
        self.switch_ttl_on(&ready).await
    }

    async fn switch_ttl_on(&self, ready: &Ready) -> Result<()> {
        let request = ready.client.describe_time_to_live().table_name(&*self.table);
        let described = read!(ready, request)
            .await
            .map_err(|error| self.context(ready, false).error(error))?;
        if let Some(ttl) = described.time_to_live_description
            && matches!(
                ttl.time_to_live_status,
                Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)
            )
        {
            return match ttl.attribute_name.as_deref() {
                Some(TTL) => Ok(()),
                _ => Err(self.bad_table("has its TTL on another attribute than `ttl`")),
            };
        }
        let ttl = TimeToLiveSpecification::builder()
            .enabled(true)
            .attribute_name(TTL)
            .build()
            .map_err(unbuilt)?;
        let request = ready
            .client
            .update_time_to_live()
            .table_name(&*self.table)
            .time_to_live_specification(ttl);
        match write!(ready, request).await {
            Ok(_) => Ok(()),
            // Somebody else did it in between.
            Err(SdkError::ServiceError(error))
                if error
                    .err()
                    .message()
                    .is_some_and(|text| text.contains("already enabled")) =>
            {
                Ok(())
            }
            Err(error) => Err(self.context(ready, true).error(error)),
        }
    }

    /// # Errors
    /// [`StoreNotFound`](Error::StoreNotFound); [`Config`](Error::Config) when its key is not ours.
    pub(super) async fn check_table(&self, ready: &Ready) -> Result<()> {
        let request = ready.client.describe_table().table_name(&*self.table);
        let table = read!(ready, request)
            .await
            .map_err(|error| self.context(ready, false).error(error))?
            .table;
        let Some(table) = table else {
            return Err(super::error::not_found(&self.table));
        };
        if !has_our_key(&table) {
            return Err(self.bad_table("has another key than `pk` (HASH) and `sk` (RANGE), both of type S"));
        }
        match table.table_status {
            Some(TableStatus::Creating | TableStatus::Deleting) => Err(Error::Unavailable {
                applied: Applied::No,
                reason: format!("the table `{}` is being made or deleted", self.table),
                source: None,
            }),
            _ => Ok(()),
        }
    }

    fn bad_table(&self, problem: &str) -> Error {
        Error::Config {
            reason: format!(
                "the DynamoDB table `{}` {problem}: use another table, of its own",
                self.table
            ),
            source: None,
        }
    }
}

fn has_our_key(table: &TableDescription) -> bool {
    let key = |name: &str, kind: &KeyType| {
        table
            .key_schema()
            .iter()
            .any(|element| element.attribute_name == name && element.key_type == *kind)
    };
    let text = |name: &str| {
        table.attribute_definitions().iter().any(|definition| {
            definition.attribute_name == name && definition.attribute_type == ScalarAttributeType::S
        })
    };
    table.key_schema().len() == 2
        && key(PARTITION, &KeyType::Hash)
        && key(ID, &KeyType::Range)
        && text(PARTITION)
        && text(ID)
}

fn unbuilt(error: impl Into<BoxError>) -> Error {
    Error::Config {
        reason: "the SDK does not take the request".to_owned(),
        source: Some(error.into()),
    }
}
