//! A process that is forked is two.

use serde_json::json;

use crate::life::each;

#[tokio::test(flavor = "multi_thread")]
async fn a_child_makes_objects_of_its_own_and_the_parent_goes_on() {
    each(&["fork"], |life| async move {
        life.ask(json!({"op": "open", "as": "listener"})).await;
        life.connect("before").await;
        let told = life.ask(json!({"op": "fork", "on": "listener", "entity": "of-the-child"})).await;
        if told["code"] != 0 {
            life.fail("the child did not see what it should");
        }
        life.connect("after").await;
        for name in ["before", "after"] {
            life.ask(json!({"op": "send", "on": format!("{name}-connection"), "kind": "text", "size": 10})).await;
            let received = life.ask(json!({"op": "receive", "on": format!("{name}-accepted")})).await;
            assert_eq!(received["size"], 10);
        }
    })
    .await;
}
