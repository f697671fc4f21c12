ALTER TABLE `acme`.`raw`.`item` ADD COLUMN IF NOT EXISTS `_elt_new_name` STRING, ADD COLUMN IF NOT EXISTS `moment` TIMESTAMP, ADD COLUMN IF NOT EXISTS `more` STRING;
UPDATE `acme`.`raw`.`item` SET `_elt_new_name` = CONCAT('\\x', TO_HEX(`name`)) WHERE TRUE;
ALTER TABLE `acme`.`raw`.`item` RENAME COLUMN `name` TO `_elt_old_name`, RENAME COLUMN `_elt_new_name` TO `name`;
UPDATE `acme`.`raw`.`item` SET `name` = CONCAT('\\x', TO_HEX(`_elt_old_name`)) WHERE `name` IS DISTINCT FROM CONCAT('\\x', TO_HEX(`_elt_old_name`));
ALTER TABLE `acme`.`raw`.`item` DROP COLUMN IF EXISTS `_elt_old_name`;
ALTER TABLE `acme`.`raw`.`item` ALTER COLUMN `amount` SET DATA TYPE NUMERIC(12,2)
