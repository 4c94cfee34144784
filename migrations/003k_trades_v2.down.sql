DROP TABLE trade_snapshots_v2;
