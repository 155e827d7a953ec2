//! The crate `aws-sdk-dynamodb` used directly: one item an entry, a number as version.

use std::collections::HashMap;
use std::time::Instant;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, KeysAndAttributes, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};
use bytes::Bytes;

use super::back_off;
use crate::contest::{Contestant, Does, Operation, next};

type Item = HashMap<String, AttributeValue>;

#[derive(Clone)]
pub(crate) struct Sdk {
    client: Client,
    table: &'static str,
}

/// An entry's place: partition and id.
pub(crate) type Place = (String, String);

impl Sdk {
    /// The table has a partition key `pk` and a sort key `sk`.
    pub(crate) fn new(client: Client, table: &'static str) -> Self {
        Self { client, table }
    }

    async fn read(&self, place: &Place) -> Option<Item> {
        let get = self
            .client
            .get_item()
            .table_name(self.table)
            .consistent_read(true);
        let got = get.set_key(Some(item(place))).send().await;
        got.expect("a GetItem").item
    }

    /// Puts it if `expected` is there (0: nothing); what is there instead is the error.
    async fn put_if(&self, place: &Place, expected: u64, value: Bytes) -> Result<u64, Item> {
        let put = self.client.put_item().table_name(self.table);
        let put = put.set_item(Some(full(place, expected + 1, value)));
        let put = if expected == 0 {
            put.condition_expression("attribute_not_exists(pk)")
        } else {
            put.condition_expression("ver = :expected")
                .expression_attribute_values(":expected", AttributeValue::N(expected.to_string()))
        };
        let put = put.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match put.send().await {
            Ok(_) => Ok(expected + 1),
            Err(SdkError::ServiceError(error)) => match error.into_err() {
                PutItemError::ConditionalCheckFailedException(failed) => Err(failed.item.unwrap_or_default()),
                error => panic!("{error:?}"),
            },
            Err(error) => panic!("{error:?}"),
        }
    }
}

fn item((partition, id): &Place) -> Item {
    HashMap::from([
        ("pk".to_owned(), AttributeValue::S(partition.clone())),
        ("sk".to_owned(), AttributeValue::S(id.clone())),
    ])
}

fn full(place: &Place, version: u64, value: Bytes) -> Item {
    let mut item = item(place);
    let text = String::from_utf8(value.into()).expect("text");
    item.insert("v".to_owned(), AttributeValue::S(text));
    item.insert("ver".to_owned(), AttributeValue::N(version.to_string()));
    item
}

fn value(mut item: Item) -> Bytes {
    match item.remove("v") {
        Some(AttributeValue::S(text)) => text.into(),
        other => panic!("no text: {other:?}"),
    }
}

fn version(item: &Item) -> u64 {
    item["ver"].as_n().expect("a number").parse().expect("a number")
}

impl Contestant for Sdk {
    type Key = Place;
    type Version = u64;

    fn name(&self) -> &str {
        "aws-sdk-dynamodb"
    }

    fn does(&self, operation: Operation) -> Does {
        let work = match operation {
            Operation::Get => "GetItem, consistent",
            Operation::Put => "PutItem without a condition",
            Operation::Create => "PutItem, `attribute_not_exists(pk)`",
            Operation::CompareAndSet => "PutItem, `ver = :expected`",
            Operation::Update => "GetItem and PutItem, again with what the refusal shows, with back-off",
            Operation::Page => "Query, consistent",
            Operation::GetMany => "BatchGetItem, consistent",
            Operation::Transact => "TransactWriteItems of 10 Puts, with a client token",
        };
        let leaves_out = match operation {
            Operation::Get | Operation::GetMany => "the attributes with the replaced versions",
            Operation::Page => {
                "the filter of what has expired, and the attributes with the replaced versions"
            }
            Operation::Put | Operation::Transact => {
                "the version's progress, the memory of replaced versions, and the look whether this write is one of them"
            }
            Operation::Create => "expiry, and the look whether this write was applied before",
            _ => "the memory of replaced versions",
        };
        Does::Less(work, leaves_out)
    }

    fn max_value(&self) -> usize {
        390 * 1024
    }

    fn key(&self, partition: &str, id: &str) -> Place {
        (format!("raw-{partition}"), id.to_owned())
    }

    async fn get(&self, key: &Place) -> Option<Bytes> {
        self.read(key).await.map(value)
    }

    async fn put(&self, key: &Place, value: Bytes) {
        let put = self.client.put_item().table_name(self.table);
        let put = put.set_item(Some(full(key, 1, value))).send();
        put.await.expect("a PutItem");
    }

    async fn delete(&self, key: &Place) {
        let delete = self.client.delete_item().table_name(self.table);
        let delete = delete.set_key(Some(item(key))).send();
        delete.await.expect("a DeleteItem");
    }

    async fn create(&self, key: &Place, value: Bytes) -> u64 {
        self.put_if(key, 0, value).await.expect("nothing was there")
    }

    async fn compare_and_set(&self, key: &Place, expected: u64, value: Bytes) -> u64 {
        self.put_if(key, expected, value)
            .await
            .expect("nobody else writes it")
    }

    async fn update(&self, key: &Place) {
        let mut there = self.read(key).await.expect("it is there");
        for attempt in 1.. {
            let began = Instant::now();
            let expected = version(&there);
            match self.put_if(key, expected, next(&value(there))).await {
                Ok(_) => return,
                Err(_) if back_off(attempt, began).await => {
                    there = self.read(key).await.expect("it is there");
                }
                Err(current) => there = current,
            }
        }
    }

    async fn page(&self, partition: &str, limit: usize) -> usize {
        let query = self.client.query().table_name(self.table).consistent_read(true);
        let query = query.key_condition_expression("pk = :pk");
        let query = query.expression_attribute_values(":pk", AttributeValue::S(format!("raw-{partition}")));
        let got = query.limit(i32::try_from(limit).expect("few")).send().await;
        got.expect("a Query")
            .items
            .unwrap_or_default()
            .into_iter()
            .map(value)
            .count()
    }

    async fn get_many(&self, keys: &[Place]) -> usize {
        let request = KeysAndAttributes::builder().consistent_read(true);
        let request = request.set_keys(Some(keys.iter().map(item).collect()));
        let get = self.client.batch_get_item();
        let get = get.request_items(self.table, request.build().expect("keys"));
        let mut got = get
            .send()
            .await
            .expect("a BatchGetItem")
            .responses
            .unwrap_or_default();
        got.remove(self.table)
            .unwrap_or_default()
            .into_iter()
            .map(value)
            .count()
    }

    async fn transact(&self, keys: &[Place], value: Bytes) {
        let puts = keys.iter().map(|key| {
            let put = Put::builder()
                .table_name(self.table)
                .set_item(Some(full(key, 1, value.clone())));
            TransactWriteItem::builder()
                .put(put.build().expect("a put"))
                .build()
        });
        let transact = self
            .client
            .transact_write_items()
            .set_transact_items(Some(puts.collect()));
        let token = format!("{:032x}", fastrand::u128(..));
        let transact = transact.client_request_token(token).send();
        transact.await.expect("a TransactWriteItems");
    }
}
