use hardline_node::{
    config::LanConfig,
    drivers::lan::*,
    proto::{KeyHash, lan::Freetext},
};
use std::time::Duration;
#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let stop = tokio_util::sync::CancellationToken::new();
    let lan = Lan::start(LanConfig::default(), stop.clone()).await.unwrap();
    println!("{:?}", lan.interfaces());
    match args[1].as_str() {
        "serve" => {
            let key: KeyHash = args[2].parse().unwrap();
            lan.set_services(vec![LanService {
                key,
                port: 7008,
                title: "ours".into(),
                password: args.get(3).and_then(|t| Freetext::new(t)),
                unlisted: false,
            }]);
            let mut list = lan.browse();
            loop {
                println!("{:?}", *list.borrow_and_update());
                tokio::select! { _ = list.changed() => {}, _ = tokio::time::sleep(Duration::from_secs(5)) => println!("{:?}", lan.interfaces()) }
            }
        }
        "find" => {
            let t = std::time::Instant::now();
            let mut s = lan.search(args[2].parse().unwrap());
            while let Ok(Some(a)) = tokio::time::timeout(Duration::from_secs(3), s.recv()).await {
                println!("found {a} after {:?}", t.elapsed());
            }
            println!("{:?}", lan.heard());
        }
        _ => {
            let mut list = lan.browse();
            let t = std::time::Instant::now();
            loop {
                println!("{:?} {:?} {:?}", t.elapsed(), *list.borrow_and_update(), lan.interfaces());
                list.changed().await.unwrap();
            }
        }
    }
    stop.cancel();
    lan.stopped().await;
}
