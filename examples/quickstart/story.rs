//! What is printed.

use std::collections::HashMap;

use crate::events::{Event, Kind};
use crate::handler::{Cart, Outcome};
use crate::platform::Reply;

/// Tells what happens, and counts it.
#[derive(Default)]
pub(crate) struct Story {
    done: u32,
    done_before: u32,
    conflicts: u32,
    deaths: u32,
    /// How often each order was placed.
    pub(crate) placed: HashMap<String, u32>,
}

impl Story {
    pub(crate) fn tell(&mut self, instance: u32, event: &Event, reply: &Reply) {
        let what = match &event.kind {
            Kind::Add(item) => format!("adds {} × {}", item.quantity, item.title),
            Kind::Remove(item) => format!("takes out {} × {}", item.quantity, item.title),
            Kind::Checkout { order, .. } => format!("orders, as {order}"),
        };
        let order = match &event.kind {
            Kind::Checkout { order, .. } => Some(order),
            _ => None,
        };
        let became = match reply {
            Reply::Handled(Outcome::Done { conflicts: 0 }) => "done".to_owned(),
            Reply::Handled(Outcome::Done { conflicts: 1 }) => "done, after 1 conflict".to_owned(),
            Reply::Handled(Outcome::Done { conflicts }) => format!("done, after {conflicts} conflicts"),
            Reply::Handled(Outcome::DoneBefore) if order.is_some() => {
                "DUPLICATE: it is ordered already".to_owned()
            }
            Reply::Handled(Outcome::DoneBefore) => "DUPLICATE: done before".to_owned(),
            Reply::Handled(Outcome::TooEarly) => {
                "too early: the cart is not complete; back to the queue".to_owned()
            }
            Reply::Failed(error) => format!("FAILED: {error}; back to the queue"),
            Reply::Nothing => format!("written, and instance {instance} DIES before it can say so"),
        };
        println!(
            "  instance {instance:>2} | {} {:<5} {what:<48} | {became}",
            event.id, event.user
        );

        match reply {
            Reply::Handled(Outcome::Done { conflicts }) => {
                self.conflicts += conflicts;
                self.done += 1;
            }
            Reply::Nothing => {
                self.deaths += 1;
                self.done += 1;
            }
            Reply::Handled(Outcome::DoneBefore) => self.done_before += 1,
            Reply::Handled(Outcome::TooEarly) | Reply::Failed(_) => {}
        }
        if let (Some(order), Reply::Nothing | Reply::Handled(Outcome::Done { .. })) = (order, reply) {
            *self.placed.entry(order.clone()).or_default() += 1;
        }
    }

    pub(crate) fn sum_up(&self) {
        println!(
            "\n{} events were done, {} duplicates recognised, {} conflicts tried again, {} instances died.",
            self.done, self.done_before, self.conflicts, self.deaths
        );
    }
}

/// Begins a part of the story.
pub(crate) fn chapter(title: &str) {
    println!("\n{title}");
}

/// Prints a cart or an order.
pub(crate) fn bill(title: &str, cart: &Cart) {
    println!("\n{title}");
    for line in cart.lines.values() {
        let price = euros(line.quantity * line.cents);
        println!("  {:>3} × {:<36} {price:>9}", line.quantity, line.title);
    }
    println!("        {:<36} {:>9}", "", euros(cart.cents()));
}

pub(crate) fn euros(cents: i64) -> String {
    format!("{}.{:02} €", cents / 100, cents % 100)
}
