//! Calls that a relay carries.

use hardline_proto::call::{CALL_LEN, RELAYED_ANSWER_LEN};
use hardline_proto::relay::callers::MAX_CALLERS_PER_NETWORK;

use super::*;
use crate::transport::relay::caller::Caller;
use crate::transport::relay::publisher::{MAX_CALLS, RelayedCall};

/// A publisher that takes calls, and those that come.
async fn callable(world: &World, id: u8, name: Name) -> (Home, mpsc::Receiver<RelayedCall>) {
    let (sender, calls) = mpsc::channel(MAX_CALLS);
    let mut home = world.home_called(world.url("first"), id, &[name], nothing_to_verify(), Some(sender));
    home.is(|status| matches!(status, RegistrationStatus::Registered { .. })).await;
    (home, calls)
}

async fn next(calls: &mut mpsc::Receiver<RelayedCall>) -> RelayedCall {
    timeout(SOON, calls.recv()).await.expect("in time").expect("it runs")
}

async fn caller(world: &World, name: Name) -> io::Result<Caller> {
    timeout(SOON, Caller::connect(&world.at.into(), &name)).await.expect("in time")
}

#[tokio::test]
async fn a_call_reaches_who_holds_the_name_and_the_answer_who_called() {
    let world = World::new(config()).await;
    let (_home, mut calls) = callable(&world, 1, A).await;
    let (_other, mut none) = callable(&world, 2, B).await;
    let mut first = caller(&world, A).await.unwrap();
    let mut second = caller(&world, A).await.unwrap();
    assert_ne!(first.seen, second.seen, "each hears where it is seen itself");
    for number in 1..=3 {
        let caller = if number == 2 { &mut second } else { &mut first };
        let sealed = [number; CALL_LEN];
        let answering = async {
            let call = next(&mut calls).await;
            assert_eq!((call.name, &call.sealed[..]), (A, &sealed[..]));
            assert_eq!(call.seen, Some(world.at.ip()), "where the relay sees the publisher");
            call.answer(vec![number + 100; RELAYED_ANSWER_LEN]);
        };
        let (answer, ()) = tokio::join!(caller.call(&sealed), answering);
        assert_eq!(answer.unwrap(), [number + 100; RELAYED_ANSWER_LEN]);
    }
    assert!(none.try_recv().is_err(), "nobody else hears it");
}

/// So is a publisher of an earlier version, which does not say that it takes calls.
#[tokio::test]
async fn who_takes_no_calls_is_not_called_and_is_reached_all_the_same() {
    let world = World::new(config()).await;
    let mut home = world.registered(1, &[A]).await;
    for name in [A, B] {
        assert_eq!(caller(&world, name).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
    let (mut client, hello) = world.client(A).await;
    let (mut tcp, _) = home.client().await;
    exchange(&mut client, &mut tcp, &hello).await;
}

#[tokio::test]
async fn a_computer_that_is_no_relay_takes_no_calls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    tokio::spawn(accept(port(listener, None, Arc::default()), stop));
    timeout(SOON, Caller::connect(&at.into(), &A)).await.expect("in time").unwrap_err();
}

/// Whoever is registered may answer those who called it, and no others.
#[tokio::test]
async fn nobody_answers_a_call_to_another_publisher() {
    let world = World::new(config()).await;
    let (_home, mut calls) = callable(&world, 1, A).await;
    let (_other, _calls) = callable(&world, 2, B).await;
    let (own, other) = (world.relay.calls_to(&A).unwrap().0, world.relay.calls_to(&B).unwrap().0);
    let mut caller = caller(&world, A).await.unwrap();
    let answering = async {
        next(&mut calls).await;
        let id = *world.relay.answers().keys().next().unwrap();
        world.relay.answered(other, id, vec![1; RELAYED_ANSWER_LEN]);
        world.relay.answered(own, id, vec![2; RELAYED_ANSWER_LEN]);
    };
    let (answer, ()) = tokio::join!(caller.call(&[0; CALL_LEN]), answering);
    assert_eq!(answer.unwrap(), [2; RELAYED_ANSWER_LEN]);
}

#[tokio::test]
async fn who_calls_too_often_is_refused_and_leaves_nothing_behind() {
    let world = World::new(config()).await;
    let (_home, mut calls) = callable(&world, 1, A).await;
    let mut callers = Vec::new();
    while let Ok(caller) = caller(&world, A).await {
        callers.push(caller);
    }
    assert_eq!((callers.len(), world.relay.status().refused), (MAX_CALLERS_PER_NETWORK, 1));
    let mut carried = 0;
    for mut caller in callers.drain(..) {
        let calling = async { while caller.call(&[0; CALL_LEN]).await.is_ok() {} };
        let answering = async {
            while let Some(call) = calls.recv().await {
                carried += 1;
                call.answer(vec![0; RELAYED_ANSWER_LEN]);
            }
        };
        tokio::select! {
            () = calling => {}
            () = answering => {}
        }
    }
    // Those of the burst, and of the seconds that this took.
    assert!((16..=40).contains(&carried), "{carried}");
    timeout(SOON, async {
        while !world.relay.answers().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("places are given back");
    caller(&world, A).await.unwrap();
}
