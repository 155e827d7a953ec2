//! The capacity units that DynamoDB charges, as it says itself: clients that ask for it with each request, and add it up.

use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::interceptors::{
    BeforeSerializationInterceptorContextMut, FinalizerInterceptorContextRef,
};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_sdk_dynamodb::operation::{
    batch_get_item as batch_get, delete_item, get_item, put_item, query, transact_write_items as transact,
    update_item,
};
use aws_sdk_dynamodb::types::{ConsumedCapacity, ReturnConsumedCapacity};
use statestore::DynamoDbStore;

use super::{Place, Requests, Sdk, Service, TABLE, config};
use crate::contest::{Side, side};
use crate::contestants::ours::Ours;

/// The units of what has gone through a client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter(Arc<Mutex<f64>>);

impl Meter {
    pub(crate) fn units(&self) -> f64 {
        *self.0.lock().expect("no panic")
    }

    fn add<'a>(&self, consumed: impl IntoIterator<Item = &'a ConsumedCapacity>) {
        let units: f64 = consumed
            .into_iter()
            .filter_map(ConsumedCapacity::capacity_units)
            .sum();
        *self.0.lock().expect("no panic") += units;
    }
}

/// Does `$do` with what is in it, if it is one of these types.
macro_rules! with {
    ($erased:expr, [$($type:ty),+], $one:ident => $do:expr) => {
        $(if let Some($one) = $erased.downcast_ref::<$type>() { $do })+
    };
    (mut $erased:expr, [$($type:ty),+], $one:ident => $do:expr) => {
        $(if let Some($one) = $erased.downcast_mut::<$type>() { $do })+
    };
}

impl Intercept for Meter {
    fn name(&self) -> &'static str {
        "Meter"
    }

    fn modify_before_serialization(
        &self,
        context: &mut BeforeSerializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        with!(mut context.input_mut(), [
            get_item::GetItemInput, put_item::PutItemInput, update_item::UpdateItemInput, delete_item::DeleteItemInput,
            query::QueryInput, batch_get::BatchGetItemInput, transact::TransactWriteItemsInput
        ], input => input.return_consumed_capacity = Some(ReturnConsumedCapacity::Total));
        Ok(())
    }

    fn read_after_execution(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(Ok(output)) = context.output_or_error() else {
            return Ok(());
        };
        with!(output, [
            get_item::GetItemOutput, put_item::PutItemOutput, update_item::UpdateItemOutput, delete_item::DeleteItemOutput,
            query::QueryOutput
        ], output => self.add(output.consumed_capacity()));
        with!(output, [
            batch_get::BatchGetItemOutput, transact::TransactWriteItemsOutput
        ], output => self.add(output.consumed_capacity()));
        Ok(())
    }
}

/// Ours, its requests and the SDK, each with the meter of its client.
pub(crate) fn sides(service: &Service) -> Vec<(Arc<dyn Side>, Meter)> {
    let Place::Addr(addr) = service.place else {
        unreachable!("it has an address")
    };
    let metered = || {
        let meter = Meter::default();
        (
            Client::from_conf(config(addr).interceptor(meter.clone()).build()),
            meter,
        )
    };
    let (client, ours) = metered();
    let store = DynamoDbStore::from_client(client, TABLE).expect("a store");
    let (client, same) = metered();
    let requests = Requests::new(client, TABLE);
    let (client, sdk) = metered();
    vec![
        (side(Ours(Arc::new(store))), ours),
        (side(requests), same),
        (side(Sdk::new(client, TABLE)), sdk),
    ]
}
