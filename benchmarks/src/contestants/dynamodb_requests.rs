//! The crate `aws-sdk-dynamodb` sending what the store sends: the same items, expressions and conditions. What is left is what the store
//! adds around them.

use std::collections::HashMap;
use std::time::Instant;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure::AllOld;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, TransactWriteItem, Update};
use bytes::Bytes;
use statestore::backend::Stamp;
use statestore::{Key, Version, WriteId};

use super::{back_off, now_ms, twin};
use crate::contest::{Contestant, Does, Operation, next};

/// How long the text of a version is, how many characters of it are the write's alone, and how many versions an item remembers.
const STAMP: usize = 32;
const WRITE: usize = 21;
const REMEMBERED: usize = 4;

const BEFORE: [&str; REMEMBERED] = ["p0", "p1", "p2", "p3"];

macro_rules! not_ours {
    () => {
        "NOT contains(ver1,:w) AND NOT contains(p0,:w) AND NOT contains(p1,:w) \
         AND NOT contains(p2,:w) AND NOT contains(p3,:w)"
    };
}

const ANYTHING: &str = concat!(
    "attribute_not_exists(pk) OR (attribute_exists(ver1) AND ",
    not_ours!(),
    ")"
);
const GONE: &str = concat!(
    "attribute_not_exists(pk) OR (attribute_exists(ver1) AND x<=:now AND ",
    not_ours!(),
    ")"
);
const VERSION_IS: &str = "begins_with(ver1,:is)";
const LIVE: &str = "attribute_not_exists(x) OR x>:now";
const PUT: &str = "SET v=:v,ver1=:ver,p0=if_not_exists(ver1,:none),p1=if_not_exists(p0,:none),\
                   p2=if_not_exists(p1,:none),p3=if_not_exists(p2,:none) REMOVE x,#ttl";

type Item = HashMap<String, AttributeValue>;

#[derive(Clone)]
pub(crate) struct Requests {
    client: Client,
    table: &'static str,
}

/// The text of a version and of those that it replaced, the newest first.
type History = String;

impl Requests {
    /// The table is one of the store's.
    pub(crate) fn new(client: Client, table: &'static str) -> Self {
        Self { client, table }
    }

    async fn read(&self, key: &Key) -> Option<(History, Bytes)> {
        let get = self.client.get_item().table_name(self.table);
        let get = get.set_key(Some(place(key))).consistent_read(true);
        get.send().await.expect("a GetItem").item.map(parts)
    }

    /// Puts a whole item after `before`, under this condition; what is there instead is the error.
    async fn put_if(
        &self,
        key: &Key,
        before: &str,
        value: Bytes,
        condition: &str,
        values: impl FnOnce(&str) -> Item,
    ) -> Result<History, Item> {
        let mut history = version(key, WriteId::new(), Stamp::new_nonce());
        let values = values(&history);
        history.push_str(&before[..before.len().min(REMEMBERED * STAMP)]);
        let mut item = place(key);
        item.insert("v".to_owned(), text(value));
        item.insert("ver1".to_owned(), AttributeValue::S(history.clone()));
        let put = self
            .client
            .put_item()
            .table_name(self.table)
            .set_item(Some(item))
            .condition_expression(condition)
            .set_expression_attribute_values(Some(values))
            .return_values_on_condition_check_failure(AllOld);
        match put.send().await {
            Ok(_) => Ok(history),
            Err(SdkError::ServiceError(error)) => match error.into_err() {
                PutItemError::ConditionalCheckFailedException(failed) => Err(failed.item.unwrap_or_default()),
                error => panic!("{error:?}"),
            },
            Err(error) => panic!("{error:?}"),
        }
    }

    async fn set(&self, key: &Key, expected: &str, value: Bytes) -> Result<History, Item> {
        let is = expected[..STAMP].to_owned();
        let values = |_: &str| HashMap::from([(":is".to_owned(), AttributeValue::S(is))]);
        self.put_if(key, expected, value, VERSION_IS, values).await
    }
}

/// The key attributes.
fn place(key: &Key) -> Item {
    HashMap::from([
        ("pk".to_owned(), AttributeValue::S(key.partition().to_owned())),
        ("sk".to_owned(), AttributeValue::S(key.id().to_owned())),
    ])
}

fn text(value: Bytes) -> AttributeValue {
    AttributeValue::S(String::from_utf8(value.into()).expect("text"))
}

fn version(key: &Key, id: WriteId, nonce: u64) -> String {
    Version::from(Stamp::new(id, nonce, key)).to_string()
}

fn now() -> AttributeValue {
    AttributeValue::N(now_ms().to_string())
}

/// What an UpdateItem that puts binds, and the name that it uses.
fn bound(version: String, value: Bytes) -> (Item, HashMap<String, String>) {
    let values = HashMap::from([
        (":w".to_owned(), AttributeValue::S(version[..WRITE].to_owned())),
        (":ver".to_owned(), AttributeValue::S(version)),
        (":none".to_owned(), AttributeValue::S(String::new())),
        (":v".to_owned(), text(value)),
    ]);
    (values, HashMap::from([("#ttl".to_owned(), "ttl".to_owned())]))
}

fn parts(mut item: Item) -> (History, Bytes) {
    let Some(AttributeValue::S(mut history)) = item.remove("ver1") else {
        panic!("no version");
    };
    for before in BEFORE.into_iter().filter_map(|name| item.remove(name)) {
        history.push_str(before.as_s().expect("text"));
    }
    match item.remove("v") {
        Some(AttributeValue::S(text)) => (history, text.into()),
        other => panic!("no text: {other:?}"),
    }
}

impl Contestant for Requests {
    type Key = Key;
    type Version = History;

    fn name(&self) -> &str {
        "aws-sdk-dynamodb, the store's requests"
    }

    fn does(&self, operation: Operation) -> Does {
        Does::Same(match operation {
            Operation::Get => "GetItem, consistent, of all attributes",
            Operation::Put => {
                "UpdateItem that moves four replaced versions up, where none of them is of this write"
            }
            Operation::Create => "PutItem where nothing is, or what has expired and is not of this write",
            Operation::CompareAndSet => "PutItem with the replaced versions, under the version",
            Operation::Update => "GetItem and that PutItem, again with what the refusal shows, with back-off",
            Operation::Page => "Query, consistent, that leaves out what has expired",
            Operation::GetMany => "BatchGetItem, consistent, of all attributes",
            Operation::Transact => "TransactWriteItems of 10 such Updates, with a client token",
        })
    }

    fn max_value(&self) -> usize {
        390 * 1024
    }

    fn key(&self, partition: &str, id: &str) -> Key {
        Key::new(twin(partition), id).expect("not empty")
    }

    async fn get(&self, key: &Key) -> Option<Bytes> {
        self.read(key).await.map(|(_, value)| value)
    }

    async fn put(&self, key: &Key, value: Bytes) {
        let (values, names) = bound(version(key, WriteId::new(), Stamp::new_nonce()), value);
        let update = self
            .client
            .update_item()
            .table_name(self.table)
            .set_key(Some(place(key)))
            .update_expression(PUT)
            .condition_expression(ANYTHING)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .return_values_on_condition_check_failure(AllOld);
        update.send().await.expect("an UpdateItem");
    }

    async fn delete(&self, key: &Key) {
        let delete = self.client.delete_item().table_name(self.table);
        let delete = delete.set_key(Some(place(key))).send();
        delete.await.expect("a DeleteItem");
    }

    async fn create(&self, key: &Key, value: Bytes) -> History {
        let values = |version: &str| {
            HashMap::from([
                (":now".to_owned(), now()),
                (":w".to_owned(), AttributeValue::S(version[..WRITE].to_owned())),
            ])
        };
        let put = self.put_if(key, "", value, GONE, values);
        put.await.expect("nothing was there")
    }

    async fn compare_and_set(&self, key: &Key, expected: History, value: Bytes) -> History {
        self.set(key, &expected, value)
            .await
            .expect("nobody else writes it")
    }

    async fn update(&self, key: &Key) {
        let (mut history, mut value) = self.read(key).await.expect("it is there");
        for attempt in 1.. {
            let began = Instant::now();
            match self.set(key, &history, next(&value)).await {
                Ok(_) => return,
                Err(_) if back_off(attempt, began).await => {
                    (history, value) = self.read(key).await.expect("it is there");
                }
                Err(current) => (history, value) = parts(current),
            }
        }
    }

    async fn page(&self, partition: &str, limit: usize) -> usize {
        let values = HashMap::from([
            (":now".to_owned(), now()),
            (":pk".to_owned(), AttributeValue::S(twin(partition))),
        ]);
        let query = self
            .client
            .query()
            .table_name(self.table)
            .key_condition_expression("pk=:pk")
            .filter_expression(LIVE)
            .set_expression_attribute_values(Some(values))
            .consistent_read(true)
            .limit(i32::try_from(limit).expect("few"));
        let items = query.send().await.expect("a Query").items;
        items.unwrap_or_default().into_iter().map(parts).count()
    }

    async fn get_many(&self, keys: &[Key]) -> usize {
        let request = KeysAndAttributes::builder().consistent_read(true);
        let request = request.set_keys(Some(keys.iter().map(place).collect()));
        let get = self.client.batch_get_item();
        let get = get.request_items(self.table, request.build().expect("keys"));
        let responses = get.send().await.expect("a BatchGetItem").responses;
        let items = responses.unwrap_or_default().into_values().flatten();
        items.map(parts).count()
    }

    async fn transact(&self, keys: &[Key], value: Bytes) {
        let (id, nonce) = (WriteId::new(), Stamp::new_nonce());
        let updates = keys.iter().map(|key| {
            let (values, names) = bound(version(key, id, nonce), value.clone());
            let update = Update::builder()
                .table_name(self.table)
                .set_key(Some(place(key)))
                .update_expression(PUT)
                .condition_expression(ANYTHING)
                .set_expression_attribute_names(Some(names))
                .set_expression_attribute_values(Some(values))
                .return_values_on_condition_check_failure(AllOld);
            TransactWriteItem::builder()
                .update(update.build().expect("an update"))
                .build()
        });
        let transact = self
            .client
            .transact_write_items()
            .set_transact_items(Some(updates.collect()));
        let token = version(&keys[0], id, nonce);
        let transact = transact.client_request_token(token).send();
        transact.await.expect("a TransactWriteItems");
    }
}

#[cfg(test)]
#[path = "dynamodb_requests/tests.rs"]
mod tests;
