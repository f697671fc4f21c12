ALTER TABLE `acme`.`raw`.`item` ADD COLUMN IF NOT EXISTS `_elt_new_id` STRING;
UPDATE `acme`.`raw`.`item` SET `_elt_new_id` = CAST(`id` AS STRING) WHERE TRUE;
ALTER TABLE `acme`.`raw`.`item` DROP PRIMARY KEY IF EXISTS;
ALTER TABLE `acme`.`raw`.`item` RENAME COLUMN `id` TO `_elt_old_id`, RENAME COLUMN `_elt_new_id` TO `id`;
UPDATE `acme`.`raw`.`item` SET `id` = CAST(`_elt_old_id` AS STRING) WHERE `id` IS DISTINCT FROM CAST(`_elt_old_id` AS STRING);
ALTER TABLE `acme`.`raw`.`item` ADD PRIMARY KEY (`id`) NOT ENFORCED;
ALTER TABLE `acme`.`raw`.`item` DROP COLUMN IF EXISTS `_elt_old_id`
