ALTER TABLE language ADD PRIMARY KEY (language_id);
ALTER TABLE category ADD PRIMARY KEY (category_id);
ALTER TABLE country ADD PRIMARY KEY (country_id);
ALTER TABLE city ADD PRIMARY KEY (city_id), ADD FOREIGN KEY (country_id) REFERENCES country;
ALTER TABLE address ADD PRIMARY KEY (address_id), ADD FOREIGN KEY (city_id) REFERENCES city;
ALTER TABLE actor ADD PRIMARY KEY (actor_id);
ALTER TABLE film
    ADD PRIMARY KEY (film_id),
    ADD FOREIGN KEY (language_id) REFERENCES language,
    ADD FOREIGN KEY (original_language_id) REFERENCES language (language_id);
ALTER TABLE film_actor
    ADD PRIMARY KEY (actor_id, film_id),
    ADD FOREIGN KEY (actor_id) REFERENCES actor,
    ADD FOREIGN KEY (film_id) REFERENCES film;
ALTER TABLE film_category
    ADD PRIMARY KEY (film_id, category_id),
    ADD FOREIGN KEY (film_id) REFERENCES film,
    ADD FOREIGN KEY (category_id) REFERENCES category;
ALTER TABLE store ADD PRIMARY KEY (store_id), ADD FOREIGN KEY (address_id) REFERENCES address;
ALTER TABLE staff
    ADD PRIMARY KEY (staff_id),
    ADD UNIQUE (username),
    ADD FOREIGN KEY (address_id) REFERENCES address,
    ADD FOREIGN KEY (store_id) REFERENCES store;
ALTER TABLE store ADD FOREIGN KEY (manager_staff_id) REFERENCES staff (staff_id);
ALTER TABLE customer
    ADD PRIMARY KEY (customer_id),
    ADD FOREIGN KEY (store_id) REFERENCES store,
    ADD FOREIGN KEY (address_id) REFERENCES address;
ALTER TABLE inventory
    ADD PRIMARY KEY (inventory_id),
    ADD FOREIGN KEY (film_id) REFERENCES film,
    ADD FOREIGN KEY (store_id) REFERENCES store;
ALTER TABLE rental
    ADD PRIMARY KEY (rental_id),
    ADD FOREIGN KEY (inventory_id) REFERENCES inventory,
    ADD FOREIGN KEY (customer_id) REFERENCES customer,
    ADD FOREIGN KEY (staff_id) REFERENCES staff;
ALTER TABLE payment
    ADD PRIMARY KEY (payment_date, payment_id),
    ADD FOREIGN KEY (customer_id) REFERENCES customer,
    ADD FOREIGN KEY (staff_id) REFERENCES staff,
    ADD FOREIGN KEY (rental_id) REFERENCES rental;

CREATE INDEX ON film USING gin (fulltext);
CREATE INDEX ON customer (last_name);
CREATE INDEX ON rental (last_update);
CREATE INDEX ON payment (last_update);
