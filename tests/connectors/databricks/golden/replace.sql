SELECT count(*) FROM `main`.`_elt`.`staging_20260101t000000_load_0a1b2c3d` _elt_r;
SELECT count(*) FROM (SELECT 1 FROM `main`.`raw`.`item` LIMIT 1) _elt_a;
SELECT count(*) FROM `main`.`raw`.`item`;
INSERT OVERWRITE `main`.`raw`.`item` SELECT _elt_s.`id` AS `id`, CAST(NULL AS date) AS `mine`, _elt_s.`name` AS `name` FROM (SELECT * FROM (SELECT _elt_r.`id` AS `id`, _elt_r.`name` AS `name` FROM `main`.`_elt`.`staging_20260101t000000_load_0a1b2c3d` _elt_r) _elt_q WHERE CASE WHEN (SELECT count(*) FROM `main`.`_elt`.`checkpoints_dca83e717b1f64eb` WHERE epoch = 7) = 1 THEN true ELSE raise_error('elt: another load has claimed this stream') END) _elt_s;
